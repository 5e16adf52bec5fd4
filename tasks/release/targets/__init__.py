"""Where a service can go, one module each: bento, image and image registry, Amazon ECS, this host."""
