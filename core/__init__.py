"""The ground of the house: spaces, choices, archs, costs and runs; it knows nothing but itself."""
