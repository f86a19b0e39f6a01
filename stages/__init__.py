"""The verbs of the pipeline: one module per DVC stage."""
