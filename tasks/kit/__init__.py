"""What the tasks of this folder are made of: reading and ranking texts, tools, prompts, models' adapters. No tasks here."""
