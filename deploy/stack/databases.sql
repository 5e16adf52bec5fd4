-- One server, four databases, made when the server first starts.
CREATE DATABASE prefect;
CREATE DATABASE mlflow;
CREATE DATABASE optuna;
CREATE DATABASE warehouse;
