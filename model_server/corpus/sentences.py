"""Sentences for synthetic speech: small grammars whose words together hold every phoneme of their language.

English mixes everyday statements, questions, counting and commands of a colour, a letter and a digit, as in the
GRID corpus; German, French and Spanish widen the range of mouth shapes.
"""

from __future__ import annotations

import re

import numpy as np

Words = dict[str, tuple[str, ...]]

_ENGLISH: Words = {
    "start": (
        "{who} {did} the {adjective} {thing} {where}.",
        "{who} {did} {number} {adjective} {things}, {and_} {who} {did} the {thing}.",
        "{ask} {who} {do} the {adjective} {thing} {where}?",
        "{verb} {colour} {preposition} {letter} {digit} {adverb}.",
        "{verb} {colour} {preposition} {letter} {digit} {adverb}.",
        "{number}, {number}, {number} {adjective} {things}.",
        "{opening}, {who} {did} a {thing} {where} {when}.",
        "{feeling} {when}, {and_} the {thing} looks {adjective}.",
        "{who} {modal} {do} the {thing} {when}, {and_} {who} {modal} {do} {number} {things}.",
        "{ask} the {adjective} {thing} and the {colour} {thing} {where}?",
        "{opening}! the {thing} is {adjective}, the {things} are {adjective}.",
    ),
    "who": (
        "my father", "the judge", "a young boy", "nobody", "our teacher", "she", "he", "they", "we", "you", "I",
        "Joyce", "George", "Vivian", "Sheila", "Matthew", "Bob and Pam", "the whole choir", "your mother", "everyone",
    ),
    "did": (
        "found", "pushed", "watched", "caught", "moved", "bought", "heard", "chose", "burned", "followed", "measured",
        "enjoyed", "mixed", "poured", "thanked", "beamed at", "worried about", "fished for", "wrapped", "thought of",
    ),
    "do": (
        "find", "push", "watch", "catch", "move", "buy", "hear", "choose", "burn", "follow", "measure", "enjoy", "mix",
        "pour", "bring", "teach", "wave at", "believe", "sew", "throw", "pay for", "bathe", "rub", "view",
    ),
    "adjective": (
        "warm", "blue", "rough", "smooth", "huge", "thin", "shy", "purple", "heavy", "narrow", "weird", "fresh",
        "cheap", "joyful", "poor", "loud", "pure", "thirsty", "beige", "wet", "royal", "foggy", "lovely", "small",
    ),
    "thing": (
        "boat", "measure", "fish", "bathtub", "apple pie", "garage", "mouth", "voice", "jumper", "church", "feather",
        "puzzle", "waterfall", "yellow cup", "moon", "bird", "shovel", "vase", "book", "path", "hair", "oil", "map",
    ),
    "things": (
        "papers", "wishes", "thumbs", "hours", "beaches", "judges", "waves", "babies", "toys", "roofs", "pools",
        "paths", "verbs", "foxes", "mirrors", "boys", "pears", "clouds", "games", "oysters", "houses",
    ),
    "where": (
        "above the village", "in the bathroom", "by the river", "under our feet", "beyond the bridge", "at home",
        "beside the fire", "on the north shore", "near the airport", "behind my house", "through the hall",
    ),
    "when": (
        "this morning", "before five", "on Thursday", "all year round", "every other Monday", "right now", "tomorrow",
        "at half past four", "in July", "now and then", "after a while",
    ),
    "ask": ("could", "why would", "how did", "where should", "when might", "what if", "who says that", "do you see"),
    "modal": ("should", "would", "may", "could", "must never", "will always", "might", "ought to"),
    "opening": ("well", "oh yes", "of course", "by the way", "good evening", "whatever happens", "maybe", "poor thing"),
    "feeling": (
        "I feel fine", "we both love it", "you were so brave", "it smells of vanilla", "people move about",
        "boys will be boys", "the music fades", "my ears are burning", "they all jump for joy",
    ),
    "and_": ("and", "but", "so", "because", "while", "although"),
    "number": ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve", "forty"),
    "verb": ("bin", "lay", "place", "set"),
    "colour": ("blue", "green", "red", "white"),
    "preposition": ("at", "by", "in", "with"),
    "letter": tuple("abcdefghijklmnopqrstuvxyz"),
    "digit": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "adverb": ("again", "now", "please", "soon"),
}  # fmt: skip
_GERMAN: Words = {
    "start": ("{who} {did} {thing} {where}.", "{ask} {who} {thing} {where}?", "{who} {did} {thing}, und {who} {did}."),
    "who": ("mein Vater", "die junge Frau", "niemand", "euer Bruder", "der böse Wolf", "Jürgen", "sie", "Philipp"),
    "did": ("öffnet", "bewegt", "findet", "wäscht", "überprüft", "bezahlt", "kauft", "hört", "zieht", "schiebt"),
    "thing": ("das Buch", "zwölf Äpfel", "den Schlüssel", "die Fische", "ein Pfund Mehl", "die Tür", "fünf Bäume"),
    "where": ("am Bahnhof", "heute früh", "über dem Fluss", "im Hof", "nach Hause", "in München", "ohne Mühe"),
    "ask": ("warum mag", "wo verkauft", "wann bringt", "womit füllt", "möchte", "glaubst du,"),
}
_FRENCH: Words = {
    "start": ("{who} {did} {thing} {where}.", "{ask} {who} {did} {thing}?", "{thing} {where}, {who} {did} {thing}."),
    "who": ("mon père", "la jeune femme", "personne ne", "un vieux roi", "il", "ma voisine", "tout le monde"),
    "did": ("ouvre", "bouge", "cherche", "peint", "voit", "pousse", "aime", "veut", "jette", "fabrique"),
    "thing": ("le beau bateau", "deux poissons bleus", "une feuille", "du bon pain", "la montagne", "huit pommes"),
    "where": ("au bord de l'eau", "chaque lundi", "sous le pont", "dans la rue", "à midi", "en juin", "chez nous"),
    "ask": ("pourquoi", "est-ce que", "quand", "on dit que", "je crois que"),
}
_SPANISH: Words = {
    "start": ("{who} {did} {thing} {where}.", "{ask} {who} {did} {thing}?", "{who} {did} {thing}, y {who} {did}."),
    "who": ("mi padre", "la joven", "nadie", "el viejo juez", "usted", "Guillermo", "la bruja", "nosotros no, él"),
    "did": ("abre", "mueve", "busca", "pinta", "oye", "empuja", "quiere", "compra", "lleva", "fabrica"),
    "thing": ("el barco", "dos peces azules", "una hoja", "el buen pan", "la montaña", "ocho manzanas", "mucha lluvia"),
    "where": ("junto al río", "cada lunes", "bajo el puente", "en la calle", "por favor", "en junio", "muy bien"),
    "ask": ("por qué", "cuándo", "dónde", "dicen que", "creo que"),
}
_GRAMMARS = {"en": _ENGLISH, "de": _GERMAN, "fr": _FRENCH, "es": _SPANISH}
_SLOT = re.compile(r"\{(\w+)\}")


def sentence(rng: np.random.Generator, language: str = "en") -> str:
    """A random sentence in "en", "de", "fr" or "es"; English for any other language."""
    words = _GRAMMARS.get(language, _ENGLISH)

    def pick(slot: str) -> str:
        return words[slot][rng.integers(len(words[slot]))]

    return _SLOT.sub(lambda match: pick(match[1]), pick("start"))


def vocabulary(language: str = "en") -> tuple[str, ...]:
    """Every word or phrase that sentences in a language are made of."""
    grammar = _GRAMMARS[language]
    return tuple(word for slot, words in grammar.items() if slot != "start" for word in words)
