"""Runtimes: torch, torch.compile, OpenVINO and ONNX Runtime."""
