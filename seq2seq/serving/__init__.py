"""The HTTP service: bundles over HTTP, with dynamic batches and a page. Needs the extra `serve`."""
