"""What changes pictures: spatial maps, the grid, common corruptions. It knows neither attacks nor their evaluation."""
