"""Local files as inputs of jobs: found in a job line, checked before anything is paid, uploaded once per content."""
