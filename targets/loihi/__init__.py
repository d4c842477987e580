"""What the targets for Loihi have in common."""
