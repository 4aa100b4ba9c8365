"""Objects of the X-ray simulator as solids in millimetres: threats, and harmless things."""
