"""The door to MLflow: versions, publishing a training, scoring movies by the code that a version was fitted with."""
