"""Boxes: how a program is sealed off, and which sealed programs live.

`driver` is the seam; `drivers/` holds what implements it; `observe` asks the kernel whether a box is what it promised;
`pool` leases the runners in them. The supervisor starts boxes, the gateway only leases.
"""
