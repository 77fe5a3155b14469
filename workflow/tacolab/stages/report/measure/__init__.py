"""What was measured: values, curves and differences of arms, each with its interval over images."""
