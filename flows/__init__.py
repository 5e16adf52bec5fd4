"""The order of things: each flow reads like a table of contents and calculates nothing itself."""
