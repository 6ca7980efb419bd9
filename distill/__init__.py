"""The room of distillation: dataset, training, export, serving, gate, rollout, and the night of them all."""
