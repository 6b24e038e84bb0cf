"""Views: one question a file, answered from the store and never through the engine. What they return is JSON."""
