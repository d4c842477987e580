"""Learning by local rules: what every target's learner offers, and the learners of the simulators."""
