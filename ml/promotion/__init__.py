"""From candidate to champion: the bundle, the gates, the policy, the decision and the move."""
