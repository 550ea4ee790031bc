hedgerow_down() { :; }
