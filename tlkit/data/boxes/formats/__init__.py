"""Box formats: COCO, VOC, YOLO, tables and others, each read, and written where it can be."""
