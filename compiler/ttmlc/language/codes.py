"""The codes of what can be wrong with a spec's text, in one place."""

from ttmlc.source import declare

NOT_TEXT = declare("E0101", "a spec is UTF-8 text without control characters, of at most 256 KiB")
INDENTATION = declare("E0102", "a line is indented as nothing around it is")
BRACKET = declare("E0103", "a bracket is not closed, or closes nothing")
TOO_MUCH = declare("E0104", "a line is too long, or nested too deeply")
UNEXPECTED = declare("E0105", "something else was expected here")
STRAY = declare("E0106", "a character that the language does not have")
MISSPELT = declare("E0107", "a word that the language does not have here")
BAD_NUMBER = declare("E0108", "a number is malformed or out of range")
UNREADABLE = declare("E0109", "a spec cannot be read")
BAD_STRING = declare("E0110", "a string is not closed, or holds what it must not")
BAD_NAME = declare("E0111", "a word that cannot be a name")
NO_COLON = declare("E0112", "a colon is missing")
NO_BLOCK = declare("E0113", "a line that ends in a colon opens no block")
EQUALS = declare("E0114", "'=' is missing, or exchanged with '=='")
NO_COMMA = declare("E0115", "a comma is missing, or one too many")
MISPLACED = declare("E0116", "a line stands where its kind may not")
TOO_EARLY = declare("E0117", "a line ends too early")
