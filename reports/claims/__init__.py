"""The papers' claims, and the measurements that they take: what becomes of them on what was run."""
