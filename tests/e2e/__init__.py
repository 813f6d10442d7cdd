"""The functions that `sam build` made, deployed by `sam deploy` to the emulator, with their roles enforced."""
