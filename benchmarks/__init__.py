"""What performance claims stand on: each table can be measured again by one command."""
