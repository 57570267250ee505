"""What a person or a monitor sees: commands, progress, messages."""
