"""What we ship to test with: fakes that are products, and kits that every adapter of a port passes."""
