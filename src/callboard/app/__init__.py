"""The application: settings, the wiring that alone builds things, one command or question a file, the child's main."""
