"""The library that every function shares. It imports nothing else of this tree."""
