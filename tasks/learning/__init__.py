"""What may be learned from, and what is learned: feature table, studies, fits, judging, the report. Knows no MLflow."""
