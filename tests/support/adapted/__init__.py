"""One application, written for each framework over its adapter, which the tests run under real servers."""
