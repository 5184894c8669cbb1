"""Local stand-ins that speak the real protocols, for the demo and the tests. Development only."""
