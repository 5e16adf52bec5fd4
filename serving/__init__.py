"""What stands between a request and the model: the schema, the guard at the door, the record of what was said."""
