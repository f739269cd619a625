"""What a member sees: cards, replies, the ids in their buttons, and posting them. Used by the bot and the generator."""
