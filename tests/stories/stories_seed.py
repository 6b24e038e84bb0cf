"""What the seed writes, word for word: the example configuration, and the pipeline that plays in a production."""

CONFIG = """\
# Example production configuration
name: "profiles"
project_home: "./project-home"
production_dir: "productions"
id_format: "{name}_{id:05d}"
document_pattern: "document_{id}_{type}.{suffix}"
settings_dir: "settings"
# Define the steps (processing stages) for this production
steps:
  - "input"      # Initial data
  - "analysis"   # Analysis results
  - "summary"    # Final summaries
  - "export"     # Exportable content
# Additional production-specific settings
metadata:
  description: "Customer profile analysis production"
  version: "1.0"
  owner: "Marketing Team"
"""

PIPELINE = """\
name: "Analysis Pipeline"
description: "Analyzes input data"

# Production configuration
production:
  name: "profiles"
  project_home: "./project-home"
  production_dir: "productions"

pipe:
  - type: llm
    name: "analyzer"
    tmpl: |
      Analyze the following data:
      {{pipe.pipein-text}}
    model: "gemini-2.0-flash"
    # Output can reference production context
    output_file: "{{production.instance_dir}}/analysis/results.txt"
"""
