#!/bin/sh
# What the service's image needs of the system: LightGBM's threads.
set -e
apt-get update
apt-get install --yes --no-install-recommends libgomp1
rm -rf /var/lib/apt/lists/* /var/cache/apt/*
