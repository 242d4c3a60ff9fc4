"""Where the method joins verl: estimators, losses, data set, worker and trainer."""
