"""The evaluation: the challenge's warm-up attacks, their scores and the page that shows them."""
