"""SCIM 2.0 (RFC 7643, RFC 7644): what provisioning clients send and read, as pure values. Storing is `provisioning`."""
