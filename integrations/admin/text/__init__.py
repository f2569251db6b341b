"""The log and a subscription put into words for their pages. Reads rows, changes nothing."""
