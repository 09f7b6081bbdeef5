"""Who is asking, and what they may reach: credentials, accounts, claims, and the principal that every door takes."""
