"""The objects of the lab's cluster: plain data, which `lab.world` holds and `lab.kubernetes` serves.

- state       ClusterState: the objects, their history for watches, and the few settings that no object can express
- resources   the kinds of objects, and their names in paths and messages
- podlogs     the output of containers, and its forms in the API
- timestamps  timestamps in the formats of Kubernetes
"""
