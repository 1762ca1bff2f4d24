"""The tab *Dub* of the sequencer's sidebar, found with the mouse.

Blender tells nobody where its buttons are. It does tell what lies under the
mouse, so the mouse goes over the panel until it meets what it looks for.
"""

import bpy
from hands import Stuck, area, region

STEP = 9
MARGIN = 60
PANELS, MENUS = "POSEDUB_PT_", "POSEDUB_MT_"
MIDDLE, ICONS = (0.5,), (-55, -77)
"""Where buttons are looked for: share of the width, or pixels from the right, where rows end with icons."""
LIST = 0.7
"""Share of the width at which menus are looked for, right of their names."""
SETTLE = 4
"""Ticks after which Blender has surely taken note of the mouse."""
UNFOLDED = 5
"""Turns of the view down in which a panel's header is looked for, eight clicks of the wheel each."""
PAGES = 8
"""Screenfuls of the sidebar with all panels unfolded, and some more."""


class Sidebar:
    """The sidebar; a button is named by its operator as Python writes it, a field by its data path."""

    def __init__(self, hands):
        self.hands = hands
        self.drawn = set()
        for name in filter(lambda name: name.startswith((PANELS, MENUS)), dir(bpy.types)):
            self._observe(name, getattr(bpy.types, name))

    def _observe(self, name, panel):
        """Take note of each drawing: a folded panel is not drawn, nor is a menu that is not open."""
        draw = panel.draw

        def noting(drawing, context):
            self.drawn.add(name)
            draw(drawing, context)

        panel.draw = noting

    @property
    def region(self):
        return region(area("SEQUENCE_EDITOR"), "UI")

    def open(self):
        """Show the sidebar (key N) and its tab."""
        one = area("SEQUENCE_EDITOR")
        yield from self.hands.move(one.x + one.width / 2, one.y + one.height / 2)
        if not one.spaces.active.show_region_ui:
            yield from self.hands.key("N")
        for _ in range(5):
            yield
        self.region.active_panel_category = "Dub"  # tabs do not tell where they are
        for _ in range(5):
            yield

    def under_mouse(self):
        """What the button under the mouse does or sets; "" where there is none."""
        one = area("SEQUENCE_EDITOR")
        manager = bpy.context.window_manager
        with bpy.context.temp_override(window=manager.windows[0], area=one, region=self.region):
            field = bpy.context.property
            if bpy.ops.ui.copy_python_command_button.poll():
                bpy.ops.ui.copy_python_command_button()
                return manager.clipboard
        return field[1] if field else ""

    def _places(self, columns, below):
        for y in range(self.region.height - STEP - below, STEP, -STEP):
            for column in columns:
                x = self.region.width * column if 0 < column < 1 else self.region.width + column
                yield self.region.x + x, self.region.y + y

    def _sweep(self, wanted, columns=MIDDLE, below=0):
        """The first place, from the top, at which `wanted` is part of what lies there; None when it is nowhere."""
        before = None
        for place in self._places(columns, below):
            yield from self.hands.move(*place)
            if wanted in self.under_mouse():
                # Blender may be a move behind.
                for x, y in filter(None, (before, place)):
                    if (yield from self._lies_at(wanted, x, y)):
                        down = yield from self._lies_at(wanted, x, y - STEP // 2)
                        return x, y - STEP // 2 if down else y
            before = place
        return None

    def _lies_at(self, wanted, x, y):
        yield from self.hands.move(x, y)
        for _ in range(SETTLE):
            yield
        return wanted in self.under_mouse()

    def scroll(self, wheel, turns):
        """Turn the wheel over the sidebar."""
        yield from self.hands.move(self.region.x + MARGIN, self.region.y + self.region.height / 2)
        for _ in range(turns):
            yield from self.hands.key(wheel)

    def find(self, wanted):
        """Window position of a button, scrolled to if need be; raises Stuck."""
        for turns in (0, *[6] * PAGES):
            yield from self.scroll("WHEELDOWNMOUSE", turns)
            if found := (yield from self._sweep(wanted)):
                return found
        yield from self.scroll("WHEELUPMOUSE", 6 * PAGES)
        if found := (yield from self._sweep(wanted)):
            return found
        raise Stuck(f"The sidebar has no button or field {wanted}.")

    def press(self, wanted):
        """Click a button."""
        yield from self.hands.click(*(yield from self.find(wanted)))

    def press_icon(self, wanted, below):
        """Click an icon at the end of a row, soon: it is looked for there only, and below a window position."""
        top = self.region.y + self.region.height
        found = yield from self._sweep(wanted, ICONS, int(top - below))
        if found is None:
            raise Stuck(f"The sidebar has no icon {wanted}.")
        yield from self.hands.click(*found)

    def unfold(self, name):
        """Open a folded panel: headers are not told either, so click rows until it is drawn; where its header is."""
        for turns in (0, *[8] * UNFOLDED):
            yield from self.scroll("WHEELDOWNMOUSE", turns)
            for y in range(STEP, self.region.height, STEP):
                if (yield from self._shows(name, MARGIN, y)):
                    return self.hands.at
        raise Stuck(f"The panel {name} does not unfold.")

    def choose(self, menu, entry, chosen):
        """Open a menu of the tab's upper half, and go down to an entry, counted from 0, until it is `chosen`."""
        yield from self.scroll("WHEELUPMOUSE", 6 * PAGES)
        for y in range(self.region.height - STEP, self.region.height // 2, -STEP):
            for downs in (entry + 1, entry):  # a menu may open with no entry marked, or with the first one
                if not (yield from self._shows(menu, self.region.width * LIST, y)):
                    break
                for _ in range(downs):
                    yield from self.hands.key("DOWN_ARROW")
                yield from self.hands.key("RET")
                for _ in range(SETTLE):
                    yield
                if chosen():
                    return
        raise Stuck(f"The menu {menu} does not open, or does not do what its entry {entry + 1} says.")

    def _shows(self, name, x, y):
        """Click a row that is no button or field; whether that unfolds a panel or opens a menu, else it is undone."""
        x, y = self.region.x + x, self.region.y + y
        if (yield from self._lies_at(".", x, y)):
            return False
        before = yield from self.shown()
        if name in before:
            return True
        self.drawn.clear()
        yield from self.hands.click(x, y)
        opened = set(self.drawn)  # a menu is drawn once, when it opens
        after = opened | (yield from self.shown())
        if name in after:
            return True
        if any(other.startswith(MENUS) for other in after - before):
            yield from self.hands.key("ESC")
        # Perhaps another panel's header, even where its body lies out of view and nothing seems changed.
        elif not (yield from self._lies_at(".", x, y)):
            yield from self.hands.click(x, y)
        return False

    def shown(self):
        """Names of the panels that are unfolded, and in view."""
        self.drawn.clear()
        self.region.tag_redraw()
        for _ in range(SETTLE):
            yield
        return set(self.drawn)
