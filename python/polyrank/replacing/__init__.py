"""What polyrank replaces in torch and in Python's library while a world of ours is on.

NOTE [Replacing names]
A *row* says what is replaced: owner, name, what makes ours of theirs, and why. The rows of a world, or
of a part of one, are `Replacements`, which are switched on and off; `replacing.layers` lists them all.
A function is not replaced where it is held. It stays the object that it is, and what it runs is
exchanged: the code object of a Python function, the C function of a built-in one. So every holder is
reached by construction (modules under any name, from before and after; defaults, closures, classes,
containers, partials), whatever compares, pickles or looks up functions by identity sees what it saw,
and what is off costs nothing: theirs is in place, to the byte. No module is ever searched, so that
switching costs some tens of nanoseconds a name.
Five kinds of places, by what stands under the name:
  - a Python function, also inside of a property, staticmethod or classmethod: `python_function.py`;
  - a built-in function or method: `_C.ExchangedFunction`;
  - a method bound to its object, as `random.randint` is: `bound_method.py`;
  - what the interpreter finds by class and not by object (`__getitem__`), what torch's class lacks, or a
    function of another kind (numpy's own): an attribute, `attribute.py`;
  - what can't be exchanged in place, as a class or a dict: it is replaced wherever modules, classes,
    functions' defaults and closures hold it, `held_object.py`. Containers that hold it are not reached.
Where several worlds replace one name, the order of `replacing.layers` says whose is outermost: each is
given what lies below it as its original.
"""
