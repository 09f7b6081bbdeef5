"""Who may ask how much, and in what order: limits that are reserved and settled, and the fair queue before the runners.

Decisions are pure (`gcra`, `fair`); what remembers them is a store (`memory`, `shared`, `valkey`). Only the gateway
calls this room.
"""
