"""What watches and helps: parameters and command line of the flows, automations, upcoming movies, pages."""
