"""The room of distillation: datasets, training, export and the promotion gate. Nothing lives here yet."""
