"""What a movie is and how its rating is predicted.

The only one of the three packages that the service container needs. It knows no network, no clock, no environment and
none of the platforms; a test imports it and looks. Whatever is stored inside a registered model is defined here.
"""
