"""CloudWatch: dashboards, alarms, metric filters, saved queries, and the one template that deploys them."""
