import unittest

from report import report


class Report(unittest.TestCase):
    def test_words_are_counted(self):
        self.assertEqual(report(["one two", "three"]), "3 words")

    def test_nothing_is_no_words(self):
        self.assertEqual(report([]), "0 words")


if __name__ == "__main__":
    unittest.main()
