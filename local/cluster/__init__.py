"""A whole cluster from real processes on loopback: what docker-compose.yml starts in containers, started without them."""
